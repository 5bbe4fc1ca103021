resource "terraform_data" "one" { input = 1 }

check "health" {
  assert {
    condition     = terraform_data.one.input == 2
    error_message = "It is not healthy."
  }
}
