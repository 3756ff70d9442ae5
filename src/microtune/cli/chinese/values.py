"""Words and parts of sentences that the program itself puts into a message, such as a kind of value or a reason.

`VALUES` are looked up whole; `PHRASES` are forms like those of sentences, of reasons that hold values themselves.
"""

from __future__ import annotations

VALUES: dict[str, str] = {
    # kinds of values
    "an object": "对象",
    "a list": "列表",
    "a string": "字符串",
    "a number": "数字",
    "a date": "日期",
    "a time with its zone": "带时区的时间",
    "true or false": "布尔值",
    "none": "无",
    "nothing": "空",
    "str": "字符串",
    "int": "整数",
    "float": "小数",
    "bool": "布尔值",
    "list": "列表",
    "dict": "字典",
    "NoneType": "空值",
    "an empty text": "空文本",
    "one value": "一个值",
    "integer": "整数",
    "boolean": "布尔值",
    "string": "字符串",
    "dictionary": "字典",
    "the header": "表头",
    "the first line": "第一行",
    # files
    "a ZIP archive (an XLSX workbook?)": "ZIP 压缩包（也许是 XLSX 工作簿）",
    "a Parquet file": "Parquet 文件",
    "an XLSX workbook": "XLSX 工作簿",
    "gzip-compressed": "gzip 压缩文件",
    "xz-compressed": "xz 压缩文件",
    "zstd-compressed": "zstd 压缩文件",
    "a PDF document": "PDF 文档",
    "an old Office document": "旧版 Office 文档",
    "a file": "文件",
    # what the system says
    "Permission denied": "没有权限",
    "No such file or directory": "没有这个文件或文件夹",
    "No space left on device": "磁盘已满",
    "Is a directory": "这是文件夹",
    "Not a directory": "不是文件夹",
    "File exists": "文件已存在",
    "File name too long": "文件名过长",
    "Read-only file system": "文件系统只读",
    "Input/output error": "读写错误",
    "Too many open files": "打开的文件过多",
    "Too many levels of symbolic links": "符号链接层数过多",
    # what the reader of JSON says
    "expecting value": "此处应有一个值",
    "expecting a value": "此处应有一个值",
    "expecting a key in double quotes": "此处应有双引号括起来的键",
    "expecting property name enclosed in double quotes": "此处应有双引号括起来的键",
    "illegal trailing comma before end of object": "对象末尾多了一个逗号",
    "illegal trailing comma before end of array": "列表末尾多了一个逗号",
    "expecting ',' delimiter": "此处应有逗号",
    "expecting ':' delimiter": "此处应有冒号",
    "extra data": "后面有多余的内容",
    "unterminated string": "字符串没有结束",
    "invalid control character": "含有非法控制字符",
    "there is more after the end of the list or object": "列表或对象结束之后还有内容",
    "the file ends in the middle": "文件不完整",
}

PHRASES: dict[str, str] = {
    "the header on line {line}": "第 {line} 行的表头",
    'the question "{question}"': "问题“{question}”",
    # larger than a limit
    "the file has {size} bytes": "文件有 {size} 字节",
    "the source has more than {rows} rows": "数据超过 {rows} 行",
    "the source decodes to more characters": "数据解码后的字符过多",
    "{packed} compressed bytes unpack to more than {unpacked}": "{packed} 字节的压缩数据解压后超过 {unpacked} 字节",
    "the line is too long for one record": "这一行太长，不能作为一条记录",
    "the file unpacks to more bytes": "文件解压后字节过多",
    "the file is too long for one row": "文件太长，不能作为一行数据",
    "the row has {fields} fields": "这一行有 {fields} 个字段",
    "the line has {fields} fields": "这一行有 {fields} 个字段",
    "the row holds {count} values": "这一行含有 {count} 个值",
    "the field {field} has {size} characters": "字段 {field} 有 {size} 个字符",
    "the record is too long (a quotation mark that is not closed?)": "记录太长（是不是有引号没有闭合？）",
    "the row is nested deeper than {levels} levels": "这一行的嵌套超过 {levels} 层",
    "the row is nested deeper than Python can read": "这一行的嵌套层数超过 Python 能读的范围",
    "the object has more keys": "对象的键过多",
    # reasons
    "expecting {character}": "此处应有 {character}",
    "the file ends before {character}": "文件在 {character} 之前就结束了",
    # other recipes of a run
    "{place}: {stored} there, {asked} now": "{place}：原为 {stored}，现为 {asked}",
}

SPLITS: dict[str, str] = {"train": "训练集", "validation": "验证集", "test": "测试集"}
