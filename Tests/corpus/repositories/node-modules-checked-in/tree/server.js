require("http").createServer((_, answer) => answer.end(require("greet")())).listen(process.env.PORT)
