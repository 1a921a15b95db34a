"""Which classes pay: what one method did to one class is not hidden by an average over methods."""

from reports import document, grid, said, section, single

from budama.reporting.document import Figure

TITLE = "Sınıf Bazlı Kazanç ve Kayıplar"


def one_lost(points: float, images: int = 100, method: str = "magnitude") -> dict:
    """Ten classes that no method changes, but that one method costs the fourth so many points."""
    content = single()
    content["dataset"] |= {"class_names": [f"sınıf {i}" for i in range(10)], "class_images": [images] * 10}
    content["dataset"]["counts"]["test"] = 10 * images
    for row in content["variants"]:
        if row["status"] == "ok":
            row["per_class_change_points"] = [0.5] * 10
            if row["method"] == method:
                row["per_class_change_points"][3] = points
    return content


def test_a_class_that_lost_sixty_points_with_one_method_is_named_though_the_average_is_small():
    text = section(said(one_lost(-60.0)), TITLE)
    assert "sınıf 3, Magnitude ile -60.0 puan" in text
    assert "bir sınıfın ötekilerden çok bedel ödediği söylenemez" not in text
    english = said(one_lost(-60.0), code="en")
    assert "sınıf 3, -60.0 points with Magnitude" in english


def test_what_chance_makes_among_so_many_classes_and_methods_is_not_named():
    text = section(said(one_lost(-6.0)), TITLE)
    assert "Tek yöntemde en büyük kayıplar" not in text
    assert "bir sınıfın ötekilerden çok bedel ödediği söylenemez" in text


def test_small_classes_have_the_bound_of_their_own_images():
    """20 points are beyond chance on 1,000 images of a class and within it on five."""
    content = one_lost(-20.0, images=1000)
    assert "sınıf 3, Magnitude ile -20.0 puan" in said(content)
    content["dataset"]["class_images"][3] = 5
    assert "Tek yöntemde en büyük kayıplar" not in said(content)


def test_a_control_that_lost_is_no_method_that_lost():
    assert "Tek yöntemde en büyük kayıplar" not in said(one_lost(-60.0, method="random"))


def test_of_many_classes_the_one_that_one_method_lost_is_in_the_figure():
    """Another method gained there, so that its average is in the middle of all."""
    content = grid(methods=4, ratios=1)
    for row in content["variants"]:
        row["per_class_change_points"] = [-3.0 + 0.06 * i for i in range(100)]
    content["variants"][0]["per_class_change_points"][50] = -60.0
    content["variants"][1]["per_class_change_points"][50] = 60.0
    figure = next(
        block
        for part in document(content)[0].sections
        for block in part.blocks
        if isinstance(block, Figure) and block.name == "classes"
    )
    assert "class 50, Coverage ile −60.0 puan" in figure.caption
    assert "class 50:" in figure.alternative
    assert figure.alternative.count(" puan") == 24
