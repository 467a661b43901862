"""The numbers of a text, and which of them a translation lost."""

from decimal import Decimal
from pathlib import Path

import pytest

from qkv.tasks.translation.numbers import lost, numbers

DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("一年有365天", [365, 1]),
        ("三百六十五天", [365]),
        ("三千七百七十六米", [3776]),
        ("3,776 m and 1,000,000.5", [3776, Decimal("1000000.5")]),
        ("二〇〇八年，二零二零", [2008, 2020]),
        ("十二点，二十，十", [12, 20, 10]),
        ("100万，一百二十万，三亿", [1_000_000, 1_200_000, 300_000_000]),
        ("一万零五十", [10_050]),
        ("三百六，两万五，一百零二", [360, 25_000, 102]),
        ("1亿2000万", [100_000_000, 20_000_000, 120_000_000]),
        ("三点五", [3, 5, Decimal("3.5")]),
        ("两个，6:45", [2, 6, 45]),
        ("２０多万", [200_000]),
        ("两三个", [23, 2, 3]),
        ("2.50, v1", [Decimal("2.5"), 1]),
        ("no number, 没有", []),
        ("12,34", [12, 34]),
        ("3-4万", [3, 30_000, 40_000]),
        ("3.5m", [Decimal("3.5"), 3_500_000]),
        ("9" * 31, [Decimal("9" * 31)]),
    ],
)
def test_numbers_are_read_in_digits_and_in_chinese(text, expected):
    assert numbers(text) >= {Decimal(number) for number in expected}
    assert len(numbers(text)) <= len(expected) + 1  # 万 after more is once more a number


def test_the_sentences_with_numbers_keep_them_in_their_references():
    lines = (DATA / "en-zh-numbers.tsv").read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines) > 200
    for line in lines:
        assert lost(*line.split("\t")) == [], line


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        ("at 8:30 pm", "20:30 晚上8点30分 晚上八点半 晚8时30分 20点半", "8点 上午9点30分 8点13分"),
        ("at 8:30", "8:30 八点半 8点30分", "20:13 3点8分 8:13"),
        ("at 20:30", "20:30 晚上8点半 20点30分", "20:13 9点半"),
        ("at 7:45", "7点45分 七点三刻 差一刻八点", "7点15分 7:54 七点"),
        ("at 3.30 p.m.", "3:30 15点30分 下午三点半", "3点 3.5点"),
        ("at 5pm", "下午5点 17:00 十七点", "15:00 下午四点"),
        ("at 12 am", "0点 12点 零点", "24个 两点"),
        ("at 9:00", "九点 9:00 9点整", "19点 8点"),
        ("on 12 March 1988", "1988年3月12日 一九八八年三月十二日", "1988年3月21日 1898年3月12日"),
        (
            "on May 5th, in Sept. 1990",
            "5月5日，1990年九月",
            "6月5日，1990年九月 5月5日，1990年十月",
        ),
        ("from 12 March to 3 April", "3月12日至4月3日", "4月12日至4月3日"),
        ("he may take 3, march 5 miles", "3,5", "5"),
        ("December 25", "12月25日 十二月二十五日 12/25", "11月25日 二月25日"),
        ("on 3/12/2024", "2024年3月12日 2024/12/3", "2024年3月11日"),
        ("the 1990s", "20世纪90年代 1990年代 九十年代", "20世纪80年代 九年"),
        ("$5 million", "500万美元 五百万美元 500万元", "5万美元 5美元 500万人"),
        ("5 to 10 million", "500万到1000万 500到1000万 五百万至一千万", "500万到100万 5到10人"),
        ("$3.5m", "350万美元 三百五十万美元 $3.5m 3.5m美元", "3美元 3.5美元 350万人 35万美元"),
        ("£1.2bn", "12亿英镑", "1英镑 1.2英镑 12亿人"),
        ("€200k", "20万欧元 200,000欧元", "20欧元 200欧元"),
        ("$3.5b", "35亿美元", "3.5美元"),
        ("$3-4m", "300万-400万美元 300到400万美元", "3-4美元"),
        ("3.5m high", "3.5m高 3.5米高", "35m 3米"),
        ("$30,000-40,000", "3万-4万美元 3-4万美元 30,000-40,000美元", "30,000美元 3-4美元"),
        ("1.5-2 million", "150万-200万 150-200万", "1.5-2 15万-20万"),
        ("at 12:30:45", "12:30:45 12点30分45秒", "12:30 12点45分"),
        ("9" * 31, "9" * 31, "9" * 30 + "8 1" + "0" * 31),
        ("12345678901234567890123456789010s", "12345678901234567890123456789010年代", "20年代"),
        ("1,000", "1000 一千 1,000 1千", "100 千 10000"),
        ("25,000", "2.5万 两万五 两万五千 25000 25,000", "25 2500 两万零五"),
        ("120 million", "1.2亿 1亿2000万 12000万 一亿二千万", "120万 1亿"),
        ("50%", "50% 百分之五十 ５０％ 五成 一半", "5% 50人 百分之十五"),
        ("100 percent", "100% 百分之百 百分百", "百分之十 100人"),
        ("20% off", "优惠20% 打八折", "优惠2% 打七折"),
        ("$38.50", "38.50美元 38.5元 三十八点五美元", "38美元 385元 38.5人"),
        ("€40", "40欧元 四十欧元", "40美元 14欧元"),
        ("1/2", "二分之一 一半 1/2", "三分之一 2"),
        ("3.75", "3.75 三点七五", "3 375 三点七"),
        ("the 3rd of 24", "24个中的第三个 第3个，共24", "24个中的一个 第三个"),
        ("the 1st", "第一 首次 第1", "第二 11"),
        ("2 dozen", "24个 两打", "12个"),
        ("10k", "10k 一万 1万 10,000", "1千 1000"),
        ("half past 8", "八点半 8:30", "七点半"),
        ("Gate 22B and AB204", "22B和AB204", "22B和AB240 12B和AB204"),
        ("555-0142-77", "555-0142-77", "555-0142-78 555"),
        ("version 4.12.1", "4.12.1版", "4.1.2版"),
        ("at 192.168.0.20", "192.168.0.20", "192.168.0.2"),
        ("See https://a.org/2?b=3.", "看https://a.org/2?b=3。", "看https://a.org/2 看"),
        ("me@example.com", "me@example.com ME@example.com", "me@example.org 我"),
        ("10 km2 and two dozen", "10平方公里", "2平方公里"),
        ("2900 kilowatts", "2900千瓦", "29千瓦 2900万瓦"),
        ("more than 20,000", "两万多 2万多", "20多"),
        ("two men and a dozen", "人 2人 12人", ""),
    ],
)
def test_what_means_the_same_is_kept_and_all_else_is_lost(source, right, wrong):
    for text in right.split():
        assert lost(source, text) == [], text
    for text in wrong.split():
        assert lost(source, text) != [], text


def test_what_is_lost_is_named():
    assert lost("12 of 24 wrote to a@b.org at 7:45.", "24人七点写信") == ["a@b.org", "12", "7:45"]


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        ("It is on May 3.", "Es ist am 3. Mai.", "Es ist am 4. Mai."),
        ("It costs $5.", "Es kostet 5 Dollar.", "Es kostet 50 Dollar."),
        ("10 percent", "10 Prozent", "100 Prozent"),
        ("It is 1.5 million.", "Es sind 1,5 Millionen.", "Es sind 15 Millionen."),
        ("It is 1.5 million.", "Es sind 1.500.000.", "Es sind 2.500.000."),
        ("It is 12,345.67.", "Es sind 12.345,67.", "Es sind 12.354,67."),
        ("It is 12,345.67.", "C'est 12\u202f345,67.", "C'est 12."),
        ("Es sind 1.500 Euro.", "It is 1500 euros.", "It is 150 euros."),
        ("Es sind 1.250.000.", "It is 1,250,000.", "It is 1,250."),
        ("at 5 pm", "um 17 Uhr", "um 16 Uhr"),
        ("at 7:45", "um 7.45 Uhr", "um 7 Uhr"),
        ("in the 1990s", "in den 1990ern", "in den 1980ern"),
        ("version 2.6.0", "Version 2.6.0", "Version 2.7.0"),
        ("the 3rd of 25", "der 3. von 25", "der dritte von 52"),
        ("5月3日270万人", "2.7 million people on May 3", "2.7 million people on May 4"),
        ("See a@b.org", "Siehe a@b.org", "Siehe dort"),
        ("It has 25", "\u0662\u0665", "\u0665"),
        ("9" * 31, "9" * 31, "9" * 30),
    ],
)
def test_in_other_languages_the_digits_are_compared(source, right, wrong):
    assert lost(source, right, chinese=False) == []
    assert lost(source, wrong, chinese=False) != []
