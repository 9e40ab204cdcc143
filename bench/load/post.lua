-- The same request again and again, as its headers were given on the command line, with a body.
dofile(os.getenv('BENCH_LOAD') .. '/report.lua')
wrk.method, wrk.body = 'POST', os.getenv('BENCH_BODY')
