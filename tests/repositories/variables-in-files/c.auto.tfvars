c = "third"
