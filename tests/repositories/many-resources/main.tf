resource "terraform_data" "host" {
  count = 2000
  input = "host-${count.index}.example.com"
}
