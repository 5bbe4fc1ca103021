module "network" {
  source = "../../modules/network"
  cidr   = "10.2.0.0/16"
}

output "cidr" { value = module.network.cidr }
