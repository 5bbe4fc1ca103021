resource "terraform_data" "first" { input = 1 }

resource "terraform_data" "second" {
  input = terraform_data.first.output
  provisioner "local-exec" {
    command = "echo the quota is exceeded; exit 7"
  }
}

resource "terraform_data" "third" { input = terraform_data.second.output }
