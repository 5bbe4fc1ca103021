output "lines" { value = [for number in range(1024) : format("%05d %s", number, join("", [for _ in range(100) : "0123456789"]))] }
