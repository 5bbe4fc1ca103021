a = "first"
