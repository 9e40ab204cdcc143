-- The requests of `post` by the timetable of `paced`.
dofile(os.getenv('BENCH_LOAD') .. '/post.lua')
dofile(os.getenv('BENCH_LOAD') .. '/paced.lua')
