-- The requests of `api-key` by the timetable of `paced`.
dofile(os.getenv('BENCH_LOAD') .. '/api-key.lua')
dofile(os.getenv('BENCH_LOAD') .. '/paced.lua')
