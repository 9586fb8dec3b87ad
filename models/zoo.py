"""Networks that others measure too: ResNet-50, MobileNetV2 and ViT-S/16, for benchmarks."""
ZOO={}
