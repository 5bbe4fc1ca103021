while read -r name; do
  echo "resource \"terraform_data\" \"$name\" {}"
done < modules.txt > generated.tf
