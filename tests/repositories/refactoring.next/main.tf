resource "terraform_data" "new_name" { input = "kept" }

moved {
  from = terraform_data.old_name
  to   = terraform_data.new_name
}

removed {
  from = terraform_data.forgotten
  lifecycle {
    destroy = false
  }
}

import {
  to = terraform_data.adopted
  id = "made-by-hand"
}

resource "terraform_data" "adopted" {}
resource "terraform_data" "replaced" { triggers_replace = 2 }
