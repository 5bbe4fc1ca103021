resource "terraform_data" "one" {
  input = <<EOF
line
EOF
}
