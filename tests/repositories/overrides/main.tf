resource "terraform_data" "one" { input = "as it is" }
output "one" { value = terraform_data.one.input }
