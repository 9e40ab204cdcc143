import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

/**
 * An MCP server as the official SDK makes it, with one tool that does nothing: `/mcp` is stateless (2026-07-28, a server per request, as the
 * SDK does it), `/session` has sessions (2025-11-25, one server for all requests of a session, JSON answers: the least that the SDK does per
 * call). Its own process: `node bench/mcp-server.ts <port>`.
 */
function mcpServer(): McpServer {
  const server = new McpServer({ name: 'bench', version: '1' })
  server.registerTool('echo', { description: 'Says it again', inputSchema: z.object({ message: z.string() }) }, ({ message }) => ({
    content: [{ type: 'text', text: message }],
  }))
  return server
}

const sessions = new Map<string, NodeStreamableHTTPServerTransport>()

async function sessionOf({ headers }: IncomingMessage): Promise<NodeStreamableHTTPServerTransport> {
  const known = sessions.get(String(headers['mcp-session-id']))
  if (known !== undefined) return known
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse: true,
    onsessioninitialized: (id) => void sessions.set(id, transport),
  })
  await mcpServer().connect(transport)
  return transport
}

const stateless = toNodeHandler(createMcpHandler(mcpServer, { responseMode: 'json' }))
const server = createServer(async (request, response) => {
  try {
    if (request.url !== '/session') await stateless(request, response)
    else await (await sessionOf(request)).handleRequest(request, response)
  } catch {
    response.destroy()
  }
})
server.listen(Number(process.argv[2]), '127.0.0.1')
process.once('SIGTERM', () => process.exit(0))
