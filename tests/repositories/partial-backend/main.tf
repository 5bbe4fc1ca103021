terraform {
  backend "http" {
    retry_max = 1
  }
}

resource "terraform_data" "one" {}
