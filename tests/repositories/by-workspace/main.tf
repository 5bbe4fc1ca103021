terraform {
  backend "pg" {}
}

locals {
  instances = { default = 0, prod = 3 }
}

resource "terraform_data" "instance" {
  count = local.instances[terraform.workspace]
}

output "environment" { value = terraform.workspace }
