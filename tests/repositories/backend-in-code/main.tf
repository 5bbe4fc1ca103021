terraform {
  backend "http" {}
}

resource "terraform_data" "one" {}
