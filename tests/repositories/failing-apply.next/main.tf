resource "terraform_data" "first" { input = 1 }

resource "terraform_data" "second" {
  input = terraform_data.first.output
}

resource "terraform_data" "third" { input = terraform_data.second.output }
