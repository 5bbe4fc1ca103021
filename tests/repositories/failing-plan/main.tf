variable "zone" { default = "moon" }

resource "terraform_data" "zone" {
  input = var.zone
  lifecycle {
    precondition {
      condition     = contains(["eu", "us"], var.zone)
      error_message = "There is no zone ${var.zone}."
    }
  }
}
