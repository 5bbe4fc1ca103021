variable "password" {
  default   = "correct-horse-battery"
  sensitive = true
}

resource "terraform_data" "database" { input = { user = "sa", password = var.password } }

output "password" {
  value     = var.password
  sensitive = true
}
output "user" { value = "sa" }
