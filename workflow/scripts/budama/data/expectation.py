"""What the dataset stage will find, seen from file names and headers alone: for the preview, in seconds."""

from budama.data import catalogue, folders, images, layouts

UNKNOWN_CLASSES = 1000  # of a folder of images that is not there yet
MOST = 20_000  # headers that are read to learn that all images are grey


def expected(data: dict) -> tuple[tuple[int, int, int], int, bool]:
    """Input shape (C, H, W) and number of classes that `data` will have, and whether the number is known.

    Where the images are there, these are what the run will find; BudamaError, as in the run, where they cannot serve.
    """
    source, shape = catalogue.SOURCES[data["name"]], catalogue.input_shape(data)
    if source.stored == "arrays" or not _there(data):
        return shape, source.classes or UNKNOWN_CLASSES, source.classes is not None
    classes = len(folders.class_names(data))
    if data.get("channels") is None and _all_grey(data):
        shape = (1, *shape[1:])
    return shape, classes, True


def _there(data: dict) -> bool:
    if data["name"] == "food101":
        return catalogue.find_files(data) is not None
    root = catalogue.root(data)
    return root.is_file() or (root.is_dir() and bool(layouts.look(root).below))


def _all_grey(data: dict) -> bool:
    """Whether all images that can be read are grey. One in colour decides, so few headers are read of most sets."""
    for number, path in enumerate(folders.first_images(data)):
        if images.is_grey(path) is False and images.check(path).reason is None:
            return False
        if number == MOST:
            break
    return True
