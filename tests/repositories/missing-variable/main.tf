variable "subscription" { type = string }

resource "terraform_data" "one" { input = var.subscription }
