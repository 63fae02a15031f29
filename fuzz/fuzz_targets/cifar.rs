//! Records of CIFAR-10 and CIFAR-100.
#![no_main]

chiffre_fuzz::target!(Cifar);
