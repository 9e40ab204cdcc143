import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { mcpConfiguration } from './configuration.ts'
import { isSameEndpoint, readMcpServers } from './mcp-servers.ts'

const key = () => randomBytes(32).toString('hex')
const environment = {
  CARACAL_MODE: 'dev',
  STS_URL: 'http://127.0.0.1:8080',
  REDIS_URL: 'redis://127.0.0.1:6379',
  AUDIT_HMAC_KEY: key(),
  STREAMS_HMAC_KEY: key(),
  GATEWAY_STS_HMAC_KEY: key(),
}

describe('[4-18] MCP_SERVERS', () => {
  it('names servers and where they are', () => {
    const { servers, faults } = readMcpServers(['weather=https://mcp.example/mcp', ' files = http://10.0.0.7:3000/'], 'stable')
    expect(faults).toEqual([])
    expect([...servers.keys()]).toEqual(['weather', 'files'])
  })

  it.each([
    ['weather', 'entry 1 must be name=url'],
    ['=https://mcp.example', 'entry 1 must be name=url'],
    ['Wea ther=https://mcp.example', 'entry 1 must be name=url'],
    ['weather=ftp://mcp.example', 'weather must be an http or https URL'],
    ['weather=mcp.example', 'weather must be an http or https URL'],
    ['weather=https://user:geheim@mcp.example', 'weather must not carry credentials'],
    ['weather=https://mcp.example?key=geheim', 'weather must have no query'],
    ['weather=stdio:node server.js', 'weather is a stdio server: for CARACAL_MODE=dev only'],
  ])('%s is named, never with what could be a secret', (entry, words) => {
    const [fault, ...others] = readMcpServers([entry], 'stable').faults
    expect(others).toEqual([])
    expect(fault).toContain(words)
    expect(fault).not.toContain('geheim')
  })

  it('one name stands once', () => {
    expect(readMcpServers(['a=https://one.example', 'a=https://two.example'], 'stable').faults).toEqual(['a stands twice'])
  })

  it('a bad entry refuses to start, and so does a mode that the adapter cannot see', () => {
    const parse = (more: Record<string, string>) => () => mcpConfiguration.parse({ ...environment, ...more })
    expect(parse({ MCP_SERVERS: 'a=https://one.example,b=two' })).toThrow(/MCP_SERVERS b must be an http or https URL/)
    expect(parse({ MCP_AUTH_MODE: 'mtls' })).toThrow(/MCP_AUTH_MODE/)
    expect(parse({ AUTH_MODE: 'mtls' })).toThrow(/MCP_AUTH_MODE/)
    expect(parse({ AUTH_MODE: 'mtls', MCP_AUTH_MODE: 'mandate' })).not.toThrow()
    expect(parse({ MCP_SERVERS: '', MCP_AUTH_MODE: '' })).not.toThrow()
  })

  it('a program of arguments is a server for a laptop', () => {
    expect(readMcpServers(['files=stdio:npx -y some-server /tmp'], 'dev').servers.get('files')).toEqual({
      name: 'files',
      kind: 'stdio',
      command: 'npx',
      args: ['-y', 'some-server', '/tmp'],
    })
  })

  it.each([
    ['https://mcp.example/mcp', true],
    ['https://mcp.example/mcp/', true],
    ['https://mcp.example:443/mcp', true],
    ['http://mcp.example/mcp', false],
    ['https://mcp.example/other', false],
    ['https://other.example/mcp', false],
    ['not a URL', false],
  ])('an upstream %s is the server: %s', (upstream, expected) => {
    expect(isSameEndpoint(upstream, new URL('https://mcp.example/mcp'))).toBe(expected)
  })
})
