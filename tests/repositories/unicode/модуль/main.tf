resource "terraform_data" "один" { input = "‮rtl‬ \u0007" }
