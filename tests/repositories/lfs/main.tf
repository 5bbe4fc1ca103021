output "size" { value = length(file("data/big.txt")) }
