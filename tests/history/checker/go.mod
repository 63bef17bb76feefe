module hearth/tests/history/checker

go 1.16

require github.com/anishathalye/porcupine v0.1.6
