module "https" { source = "git::@MODULE@?ref=v1.0" }
module "ssh" { source = "git::@MODULE_SSH@?ref=release/1" }
module "commit" { source = "git::@MODULE@//sub/dir?ref=@SHA@" }
module "transitive" { source = "git::@MODULE@?ref=transitive" }

output "answers" {
  value = [module.https.answer, module.ssh.answer, module.commit.answer, module.transitive.answer]
}
