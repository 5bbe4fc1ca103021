variable "environment" { type = string }
variable "instances" { type = number }

module "app" {
  source    = "./modules/app"
  instances = var.instances
}

output "environment" { value = var.environment }
