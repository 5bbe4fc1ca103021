variable "instances" { type = number }

resource "terraform_data" "instance" {
  count = var.instances
  input = count.index
}
