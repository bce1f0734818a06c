export default {
	extensions: {ts: 'module'},
	nodeArguments: ['--import=./runtime/loader/register.mjs'],
	workerThreads: false,
	files: ['test/**/*.test.ts'],
	require: ['./test/_helpers/property-seed.ts'],
	timeout: '8m',
	environmentVariables: {TF_CPP_MIN_LOG_LEVEL: '2', TF_ENABLE_ONEDNN_OPTS: '1'},
};
