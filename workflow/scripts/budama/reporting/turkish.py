"""Turkish suffixes for names and numbers, chosen by how they are read aloud: TS2'ye, TS3'te, TS4'ün, %18.4'lük.

Vowel harmony and consonant assimilation look at the last syllable of the *reading*: "TS3" ends in "üç", "%18.4" in
"dört", "FPGM" in the letter name "me". Foreign names take the suffix of their pronunciation (Türk Dil Kurumu, Yazım
Kılavuzu: "Özel adlara getirilen ekler").
"""

import re
import unicodedata

UNITS = ("sıfır", "bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz")
TENS = ("", "on", "yirmi", "otuz", "kırk", "elli", "altmış", "yetmiş", "seksen", "doksan")
SCALES = ("", "bin", "milyon", "milyar", "trilyon", "katrilyon")

LETTERS = dict(
    zip(
        "abcçdefgğhıijklmnoöpqrsştuüvwxyz",
        [
            "a",
            "be",
            "ce",
            "çe",
            "de",
            "e",
            "fe",
            "ge",
            "ğe",
            "he",
            "ı",
            "i",
            "je",
            "ke",
            "le",
            "me",
            "ne",
            "o",
            "ö",
            "pe",
            "kü",
            "re",
            "se",
            "şe",
            "te",
            "u",
            "ü",
            "ve",
            "ve",
            "iks",
            "ye",
            "ze",
        ],
    )
)

# How words are read whose spelling would mislead: foreign names, silent letters, palatal l ("kontrole", not
# "kontrola").
READINGS = {
    "wanda": "vanda", "taylor": "teylır", "magnitude": "magnitud", "coverage": "kaveric", "hessian": "hesiyan",
    "lamp": "lamp", "scratch": "skreç", "scale": "skeyl", "baseline": "beyslayn", "batch": "beç", "epoch": "epok",
    "prune": "prun", "size": "sayz", "mnist": "emnist", "svhn": "en", "cifar": "sifar", "imagenette": "imıcnet",
    "places": "pleysis", "flowers": "flavırs", "adamw": "adam ve", "mb": "bayt", "mib": "bayt", "kib": "bayt",
    "gib": "bayt", "gb": "bayt", "kb": "bayt", "ms": "milisaniye", "macs": "meks", "flops": "flops", "onnx": "oniks",
    "cuda": "kuda", "arm": "arm", "kontrol": "kontröl", "protokol": "protoköl", "sembol": "semböl", "rol": "röl",
    "orijinal": "orijinel", "normal": "normel", "global": "globel", "ideal": "ideel", "terminal": "terminel",
    "saat": "saet", "harf": "herf", "dikkat": "dikket", "flap": "flep",
}  # fmt: skip

FRONT, VOWELS, VOICELESS = "eiöü", "aeıioöuü", "fstkçşhpx"
NARROW = {"a": "ı", "ı": "ı", "e": "i", "i": "i", "o": "u", "u": "u", "ö": "ü", "ü": "ü"}
NUMBER = re.compile(r"(?<![\w.,])[-+−]?\d[\d.,\u00a0\u202f]*$")


def read_integer(number: int) -> str:
    """A whole number as it is read: 1997 is "bin dokuz yüz doksan yedi". Raises ValueError from 10**18 on."""
    if number < 0:
        return "eksi " + read_integer(-number)
    if number == 0:
        return UNITS[0]
    if number >= 1000 ** len(SCALES):
        raise ValueError(f"{number} has no reading here")
    words = []
    for power in range(len(SCALES) - 1, -1, -1):
        part = number // 1000**power % 1000
        if part and not (power == 1 and part == 1):  # 1000 is "bin", not "bir bin"
            words += _below_thousand(part)
        if part and power:
            words.append(SCALES[power])
    return " ".join(words)


def read_number(text: str, decimal: str = ".") -> str:
    """Digits as they are read: "18.4" is "on sekiz nokta dört"; the other mark than `decimal` groups thousands."""
    sign = "eksi " if text[:1] in "-−" else ""
    digits = re.sub(r"[^\d.,]", "", text).rstrip(".,")
    grouping = "," if decimal == "." else "."
    whole, _, fraction = digits.replace(grouping, "").partition(decimal)
    spoken = sign + _digits(whole or "0")
    if not fraction:
        return spoken
    zeros = len(fraction) - len(fraction.lstrip("0"))
    rest = fraction[zeros:]
    words = [UNITS[0]] * zeros + ([_digits(rest)] if rest else [])
    return f"{spoken} {'nokta' if decimal == '.' else 'virgül'} {' '.join(words)}"


def ordinal(number: int) -> str:
    """The ordinal in words: 1 is "birinci", 4 "dördüncü", 22 "yirmi ikinci"."""
    words = read_integer(number)
    if words.endswith("dört"):
        words = words[:-1] + "d"
    return words + ("nc" if words[-1] in VOWELS else _narrow(words) + "nc") + _narrow(words)


def suffix(text: str, case: str, decimal: str = ".") -> str:
    """`text` with the apostrophe and the suffix of `case`, one of CASES: suffix("TS3", "locative") is "TS3'te".

    After a word that has a possessive already ("Budama denemesi") a case begins with n: "Budama denemesi'nde".
    """
    word = last_word(text, decimal)
    if case in PRONOMINAL and _is_possessed(text):
        return f"{text}'n{PRONOMINAL[case](word)}"
    return f"{text}'{CASES[case](word)}"


def last_word(text: str, decimal: str = ".") -> str:
    """The last word of a name or number in the spelling of its sound, lower case; "e" where nothing can be read."""
    stripped = re.sub(r"[^\w]+$", "", unicodedata.normalize("NFC", text)).rstrip("_")
    number = NUMBER.search(stripped)
    if number:
        return read_number(number.group(), decimal).split()[-1]
    digits = re.search(r"[0-9]+$", stripped)
    if digits:
        return _digits(digits.group()).split()[-1]
    word = re.search(r"[^\W\d_]*$", stripped)
    return _sound(word.group() if word else "") or "e"


def _dative(word: str) -> str:
    return ("y" if _open(word) else "") + _wide(word)


def _locative(word: str) -> str:
    return ("t" if word[-1] in VOICELESS else "d") + _wide(word)


def _genitive(word: str) -> str:
    return ("n" if _open(word) else "") + _narrow(word) + "n"


def _accusative(word: str) -> str:
    return ("y" if _open(word) else "") + _narrow(word)


def _possessive(word: str) -> str:
    return ("s" if _open(word) else "") + _narrow(word)


CASES = {
    "dative": _dative,
    "locative": _locative,
    "ablative": lambda word: _locative(word) + "n",
    "genitive": _genitive,
    "accusative": _accusative,
    "possessive": _possessive,
    "lik": lambda word: f"l{_narrow(word)}k",
}


PRONOMINAL = {
    "dative": lambda word: _wide(word),
    "locative": lambda word: "d" + _wide(word),
    "ablative": lambda word: "d" + _wide(word) + "n",
    "genitive": lambda word: _narrow(word) + "n",
    "accusative": lambda word: _narrow(word),
}
# Heads of compounds that name a scenario, a data set or a model, without their possessive: after a consonant it is a
# single vowel ("testi", "veri seti"), which alone would say nothing.
HEADS = (
    "test", "deney", "model", "ağ", "rapor", "set", "görüntü", "çekim", "fotoğraf", "resim", "sınıf", "çalışm", "koş",
    "ölçüm", "sonuç", "sonuc", "kayıt", "kayd", "albüm", "arşiv", "örnek", "örneğ", "yöntem", "tür", "kontrol",
    "denetim", "eğitim", "üretim", "ürün", "bölüm", "takım", "boy",
)  # fmt: skip


def _is_possessed(text: str) -> bool:
    """Whether a name of several words ends in a third person's possessive: denemesi, görüntüleri, veri seti."""
    words = text.split()
    last = _lower(re.sub(r"\W+$", "", words[-1])) if len(words) > 1 else ""
    if len(last) < 3 or last[-1] not in "ıiuü":
        return False
    stem = last[:-1]
    after_vowel = stem[-1] == "s" and stem[-2] in VOWELS
    return after_vowel or stem.endswith(("lar", "ler")) or stem in HEADS


def _below_thousand(number: int) -> list[str]:
    hundreds, tens, units = number // 100, number // 10 % 10, number % 10
    words = [UNITS[hundreds]] if hundreds > 1 else []
    words += ["yüz"] if hundreds else []
    words += [TENS[tens]] if tens else []
    return words + ([UNITS[units]] if units else [])


def _digits(digits: str) -> str:
    """A run of digits; leading zeros, and runs too long to be a number, are read digit by digit."""
    if len(digits) > 3 * len(SCALES):
        return " ".join(UNITS[int(digit)] for digit in digits)
    zeros = len(digits) - len(digits.lstrip("0"))
    if zeros == len(digits):
        return UNITS[0]
    return " ".join([UNITS[0]] * zeros + [read_integer(int(digits))])


def _sound(word: str) -> str:
    """The reading of a word of letters alone, or "" where it has no Latin letter."""
    lowered = _lower(word)
    if lowered in READINGS:
        return READINGS[lowered].split()[-1]
    inner = re.search(r"[A-ZÇĞİÖŞÜ][a-zçğıöşü]+$", word)  # ImageNet ends in Net, AlexNet too
    if inner and _lower(inner.group()) in READINGS:
        return READINGS[_lower(inner.group())].split()[-1]
    plain = "".join(_plain(letter) for letter in lowered)
    if not plain:
        return ""
    spelled = len(plain) == 1 or (word.isupper() and len(plain) <= 3) or not any(v in plain for v in VOWELS + "y")
    if spelled or (word.isupper() and not any(v in plain for v in VOWELS)):
        return LETTERS[plain[-1]]
    if plain[-1] == "y" and plain[-2] not in VOWELS:  # tiny, tidy: read with a final i
        return plain[:-1] + "i"
    return plain


def _lower(word: str) -> str:
    if any(letter in word for letter in "İığşĞŞ"):
        word = word.replace("I", "ı")
    return word.replace("İ", "i").lower()


def _plain(letter: str) -> str:
    """A lower-case letter of LETTERS, its accent dropped (é is e), or "" for anything else."""
    if letter in LETTERS:
        return letter
    base = unicodedata.normalize("NFKD", letter)[0]
    return base if base in LETTERS else ""


def _vowel(word: str) -> str:
    return next((letter for letter in reversed(word) if letter in VOWELS), "e")


def _open(word: str) -> bool:
    return word[-1] in VOWELS


def _wide(word: str) -> str:
    return "e" if _vowel(word) in FRONT else "a"


def _narrow(word: str) -> str:
    return NARROW[_vowel(word)]
