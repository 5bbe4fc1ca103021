terraform {
  required_version = "< 0.2"
}

output "one" { value = 1 }
