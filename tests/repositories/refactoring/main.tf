resource "terraform_data" "old_name" { input = "kept" }
resource "terraform_data" "forgotten" { input = "not managed here any more" }
resource "terraform_data" "replaced" { triggers_replace = 1 }
