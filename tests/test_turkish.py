"""Suffixes follow how a name or a number is read aloud. Expected forms are written by hand, not derived by the code's
rules."""

import pytest

from budama.reporting.turkish import CASES, ordinal, read_integer, read_number, suffix

# The last word of a number as it is read, with its seven suffixes as a Turkish speaker writes them after an apostrophe:
# dative, locative, ablative, genitive, accusative, possessive, -lik.
ENDINGS = {
    "sıfır": "a da dan ın ı ı lık", "bir": "e de den in i i lik", "iki": "ye de den nin yi si lik",
    "üç": "e te ten ün ü ü lük", "dört": "e te ten ün ü ü lük", "beş": "e te ten in i i lik",
    "altı": "ya da dan nın yı sı lık", "yedi": "ye de den nin yi si lik", "sekiz": "e de den in i i lik",
    "dokuz": "a da dan un u u luk", "on": "a da dan un u u luk", "yirmi": "ye de den nin yi si lik",
    "otuz": "a da dan un u u luk", "kırk": "a ta tan ın ı ı lık", "elli": "ye de den nin yi si lik",
    "altmış": "a ta tan ın ı ı lık", "yetmiş": "e te ten in i i lik", "seksen": "e de den in i i lik",
    "doksan": "a da dan ın ı ı lık", "yüz": "e de den ün ü ü lük", "bin": "e de den in i i lik",
    "milyon": "a da dan un u u luk",
}  # fmt: skip
ORDER = ("dative", "locative", "ablative", "genitive", "accusative", "possessive", "lik")
UNITS = ["sıfır", "bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz"]
TENS = ["sıfır", "on", "yirmi", "otuz", "kırk", "elli", "altmış", "yetmiş", "seksen", "doksan"]

SCENARIOS = """
TS1'e TS1'de TS1'den TS1'in · TS2'ye TS2'de TS2'den TS2'nin · TS3'e TS3'te TS3'ten TS3'ün ·
TS4'e TS4'te TS4'ten TS4'ün · TS5'e TS5'te TS5'ten TS5'in · TS6'ya TS6'da TS6'dan TS6'nın ·
TS7'ye TS7'de TS7'den TS7'nin · TS8'e TS8'de TS8'den TS8'in · TS9'a TS9'da TS9'dan TS9'un ·
TS10'a TS10'da TS10'dan TS10'un · TS11'e TS11'de TS11'den TS11'in · TS12'ye TS12'de TS12'den TS12'nin ·
TS13'e TS13'te TS13'ten TS13'ün · TS14'e TS14'te TS14'ten TS14'ün · TS15'e TS15'te TS15'ten TS15'in ·
TS16'ya TS16'da TS16'dan TS16'nın · TS17'ye TS17'de TS17'den TS17'nin · TS18'e TS18'de TS18'den TS18'in ·
TS19'a TS19'da TS19'dan TS19'un · TS20'ye TS20'de TS20'den TS20'nin
"""

NAMES = """
ResNet50'ye ResNet50'de ResNet50'den ResNet50'nin · ResNet20'ye ResNet20'de ResNet20'den ResNet20'nin ·
ResNet-56'ya ResNet-56'da ResNet-56'dan ResNet-56'nın · ResNet18'e ResNet18'de ResNet18'den ResNet18'in ·
VGG16'ya VGG16'da VGG16'dan VGG16'nın · VGG'ye VGG'de VGG'den VGG'nin ·
MobileNetV2'ye MobileNetV2'de MobileNetV2'den MobileNetV2'nin ·
EfficientNet-B4'e EfficientNet-B4'te EfficientNet-B4'ten EfficientNet-B4'ün ·
ConvNeXt'e ConvNeXt'te ConvNeXt'ten ConvNeXt'in · ViT'e ViT'te ViT'ten ViT'in ·
DenseNet121'e DenseNet121'de DenseNet121'den DenseNet121'in · ImageNet'e ImageNet'te ImageNet'ten ImageNet'in ·
Food-101'e Food-101'de Food-101'den Food-101'in · Food101'e Food101'de Food101'den Food101'in ·
CIFAR-10'a CIFAR-10'da CIFAR-10'dan CIFAR-10'un · CIFAR-100'e CIFAR-100'de CIFAR-100'den CIFAR-100'ün ·
Fashion-MNIST'e Fashion-MNIST'te Fashion-MNIST'ten Fashion-MNIST'in · digits'e digits'te digits'ten digits'in ·
demo'ya demo'da demo'dan demo'nun · fashion_mnist'e fashion_mnist'te fashion_mnist'ten fashion_mnist'in ·
Wanda'ya Wanda'da Wanda'dan Wanda'nın · Taylor'a Taylor'da Taylor'dan Taylor'ın ·
Magnitude'a Magnitude'da Magnitude'dan Magnitude'un · Coverage'e Coverage'de Coverage'den Coverage'in ·
Random'a Random'da Random'dan Random'un · Sıfırdan'a Sıfırdan'da Sıfırdan'dan Sıfırdan'ın ·
FPGM'ye FPGM'de FPGM'den FPGM'nin · LAMP'a LAMP'ta LAMP'tan LAMP'ın · Hessian'a Hessian'da Hessian'dan Hessian'ın ·
Pruning'e Pruning'de Pruning'den Pruning'in · BatchNorm'a BatchNorm'da BatchNorm'dan BatchNorm'un ·
Kontrol'e Kontrol'de Kontrol'den Kontrol'ün · Işık'a Işık'ta Işık'tan Işık'ın · İzmir'e İzmir'de İzmir'den İzmir'in
"""


def cases(text: str) -> list[tuple[str, str, str]]:
    """(name, case, expected form) out of a table above."""
    found = []
    for group in text.replace("\n", " ").split("·"):
        forms = group.split()
        found += [(form.rpartition("'")[0], case, form) for form, case in zip(forms, ORDER)]
    return found


@pytest.mark.parametrize(("name", "case", "expected"), cases(SCENARIOS) + cases(NAMES))
def test_a_name_takes_the_suffix_of_its_sound(name, case, expected):
    assert suffix(name, case) == expected


def last_word(whole: int) -> str:
    """How a whole number from 0 to 100 ends when read, by looking at its digits."""
    if whole == 100:
        return "yüz"
    return UNITS[whole % 10] if whole % 10 or whole == 0 else TENS[whole // 10]


@pytest.mark.parametrize("percent", range(101))
def test_whole_percentages_are_read_aloud(percent):
    for case, ending in zip(ORDER, ENDINGS[last_word(percent)].split()):
        assert suffix(f"%{percent}", case) == f"%{percent}'{ending}"


@pytest.mark.parametrize("mark", [".", ","])
@pytest.mark.parametrize("hundredths", range(100))
def test_decimals_are_read_as_the_number_after_the_mark(hundredths, mark):
    two, one = f"%96{mark}{hundredths:02d}", f"%18{mark}{hundredths % 10}"
    for case, ending in zip(ORDER, ENDINGS[last_word(hundredths)].split()):
        assert suffix(two, case, mark) == f"{two}'{ending}"
    for case, ending in zip(ORDER, ENDINGS[last_word(hundredths % 10)].split()):
        assert suffix(one, case, mark) == f"{one}'{ending}"


@pytest.mark.parametrize(
    ("text", "decimal", "case", "expected"),
    [
        ("%18,4", ",", "lik", "%18,4'lük"),
        ("%18.4", ".", "lik", "%18.4'lük"),
        ("%96.1", ".", "accusative", "%96.1'i"),
        ("%96.2", ".", "possessive", "%96.2'si"),
        ("−%18.4", ".", "dative", "−%18.4'e"),
        ("25,600", ".", "genitive", "25,600'ün"),  # yirmi beş bin altı yüz
        ("25.600", ",", "genitive", "25.600'ün"),
        ("49,997", ".", "dative", "49,997'ye"),
        ("50,000", ".", "dative", "50,000'e"),  # elli bin
        ("50,000", ",", "dative", "50,000'a"),  # elli virgül sıfır
        ("1,000,000", ".", "locative", "1,000,000'da"),  # bir milyon
        ("97.70 MiB", ".", "ablative", "97.70 MiB'tan"),  # mebibayt
        ("0.027 ms", ".", "dative", "0.027 ms'ye"),  # milisaniye
    ],
)
def test_numbers_in_both_notations(text, decimal, case, expected):
    assert suffix(text, case, decimal) == expected


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "sıfır"),
        (7, "yedi"),
        (10, "on"),
        (18, "on sekiz"),
        (40, "kırk"),
        (100, "yüz"),
        (101, "yüz bir"),
        (200, "iki yüz"),
        (1000, "bin"),
        (1997, "bin dokuz yüz doksan yedi"),
        (2000, "iki bin"),
        (25_600, "yirmi beş bin altı yüz"),
        (101_000, "yüz bir bin"),
        (1_000_000, "bir milyon"),
        (1_001_000, "bir milyon bin"),
        (-5, "eksi beş"),
    ],
)
def test_whole_numbers_in_words(number, words):
    assert read_integer(number) == words


@pytest.mark.parametrize(
    ("text", "decimal", "words"),
    [
        ("18.4", ".", "on sekiz nokta dört"),
        ("18,4", ",", "on sekiz virgül dört"),
        ("0.05", ".", "sıfır nokta sıfır beş"),
        ("75.50", ".", "yetmiş beş nokta elli"),
        ("49,997", ".", "kırk dokuz bin dokuz yüz doksan yedi"),
        ("4.00", ".", "dört nokta sıfır sıfır"),
    ],
)
def test_decimals_in_words(text, decimal, words):
    assert read_number(text, decimal) == words


def test_ordinals_in_words():
    expected = [
        "birinci",
        "ikinci",
        "üçüncü",
        "dördüncü",
        "beşinci",
        "altıncı",
        "yedinci",
        "sekizinci",
        "dokuzuncu",
        "onuncu",
    ]
    assert [ordinal(n) for n in range(1, 11)] == expected
    assert [ordinal(n) for n in (20, 22, 34, 100)] == ["yirminci", "yirmi ikinci", "otuz dördüncü", "yüzüncü"]


@pytest.mark.parametrize("text", ["", "🙂", "שלום", "<script>", "|", "'", "___", "%", "9" * 60, "ı", "Q", "x-"])
def test_anything_takes_some_suffix(text):
    for case in CASES:
        assert suffix(text, case).startswith(text + "'")


@pytest.mark.parametrize(
    ("name", "case", "expected"),
    [
        ("Budama denemesi", "locative", "Budama denemesi'nde"),
        ("Kalite kontrolü", "ablative", "Kalite kontrolü'nden"),
        ("Yıl sonu üretimi", "locative", "Yıl sonu üretimi'nde"),
        ("Yeni tür mavi", "locative", "Yeni tür mavi'de"),
        ("Budama denemesi", "genitive", "Budama denemesi'nin"),
        ("Budama denemesi", "ablative", "Budama denemesi'nden"),
        ("Budama denemesi", "dative", "Budama denemesi'ne"),
        ("Budama denemesi", "accusative", "Budama denemesi'ni"),
        ("Sokak fotoğrafları", "locative", "Sokak fotoğrafları'nda"),
        ("Tez senaryosu", "ablative", "Tez senaryosu'ndan"),
        ("Kuş görüntüleri", "genitive", "Kuş görüntüleri'nin"),
        ("Meyve veri seti", "locative", "Meyve veri seti'nde"),
        ("Sınır ağı", "locative", "Sınır ağı'nda"),
        ("Budama deneyi", "genitive", "Budama deneyi'nin"),
        # Words that merely end so: one word, a name, a number.
        ("Denemesi", "locative", "Denemesi'de"),
        ("ResNet mini", "locative", "ResNet mini'de"),
        ("Fashion-MNIST", "locative", "Fashion-MNIST'te"),
        ("Senaryo 2", "locative", "Senaryo 2'de"),
    ],
)
def test_a_compound_with_a_possessive_takes_its_n(name, case, expected):
    assert suffix(name, case) == expected
