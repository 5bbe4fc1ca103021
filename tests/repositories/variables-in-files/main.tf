variable "a" {}
variable "b" {}
variable "c" {}
output "all" { value = "${var.a} ${var.b} ${var.c}" }
