-- The same request again and again, as its headers were given on the command line.
dofile(os.getenv('BENCH_LOAD') .. '/report.lua')
