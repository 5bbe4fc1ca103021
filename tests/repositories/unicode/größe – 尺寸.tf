# Größe, 尺寸, размер 📏
variable "größe" { default = "zwölf „Zoll“ 📏" }

resource "terraform_data" "straße" {
  for_each = toset(["münchen", "北京", "🚀", "a|b`c*d"])
  input    = "${var.größe}: ${each.key}"
}

module "модуль" { source = "./модуль" }

output "größe" { value = var.größe }
