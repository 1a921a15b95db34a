"""How a model is called in a report: `resnet50` is ResNet50. Free of torch, so that `aggregate` starts at once."""

import re

# Longest names first: resnext must not be read as resnet, mobilenet_v3 not as mobilenet.
_FAMILIES = {
    "wide_resnet": "Wide-ResNet",
    "resnet_cifar_padded": "ResNet",
    "resnet_cifar": "ResNet",
    "efficientnetv2": "EfficientNetV2-",
    "efficientnet_v2": "EfficientNetV2",
    "efficientnet": "EfficientNet",
    "mobilenetv2": "MobileNetV2-",
    "mobilenetv3": "MobileNetV3",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3",
    "shufflenet_v2": "ShuffleNetV2",
    "squeezenet": "SqueezeNet",
    "inception_v3": "Inception-v3",
    "googlenet": "GoogLeNet",
    "convnextv2": "ConvNeXtV2",
    "convnext": "ConvNeXt",
    "densenet": "DenseNet",
    "regnet": "RegNet",
    "resnext": "ResNeXt",
    "resnet": "ResNet",
    "mnasnet": "MNASNet",
    "alexnet": "AlexNet",
    "deit": "DeiT",
    "swin": "Swin",
    "vgg": "VGG",
    "vit": "ViT",
}


def title(model: dict) -> str:
    """Name of a model for people, from the `model` section of a baseline file.

    `{"source": "torchvision", "name": "resnet50"}` is `ResNet50`; a depth in the arguments is part of the name
    (`resnet_cifar` with `depth: 20` is `ResNet20`); a Python callable is called by the function's name.
    """
    name = str(model["name"]).rsplit(":", 1)[-1].split(".")[0]
    depth = (model.get("arguments") or {}).get("depth", 20 if name.startswith("resnet_cifar") else None)
    lowered = name.lower()
    for stem, family in _FAMILIES.items():
        if lowered.startswith(stem):
            rest = name[len(stem) :].strip("_-")
            rest = re.sub(r"^([bslh])_(\d+)$", r"\1/\2", rest).replace("_", "-")
            rest = re.sub(r"^[a-z](?=$|[/\d])|(?<=-)bn$", lambda found: found[0].upper(), rest)
            if rest and rest[0].isalpha() and not family.endswith("-"):
                rest = "-" + rest
            return (family + rest).rstrip("-") + (str(depth) if depth is not None else "")
    return name if depth is None else f"{name}-{depth}"
