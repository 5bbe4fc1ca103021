resource "terraform_data" "unused" {}
