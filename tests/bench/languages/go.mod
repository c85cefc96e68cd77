module libhotstuff/tests/bench/languages

go 1.24
