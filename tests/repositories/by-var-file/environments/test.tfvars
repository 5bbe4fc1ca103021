environment = "test"
instances   = 2
