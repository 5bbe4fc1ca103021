resource "terraform_data" "one" { input = "overridden" }
