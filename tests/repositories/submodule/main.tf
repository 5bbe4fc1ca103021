module "shared" { source = "./modules/shared" }

output "answer" { value = module.shared.answer }
