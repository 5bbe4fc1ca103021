output "one" {
  value = trimspace(terraform_data.one.input)
}
