resource "terraform_data" "shared" { input = fileexists("/etc/passwd") }
