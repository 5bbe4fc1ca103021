resource "terraform_data" "source" { input = ["a", "b"] }

module "each" {
  source   = "./one"
  for_each = toset([terraform_data.source.id])
}
