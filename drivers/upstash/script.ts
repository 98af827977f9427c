// Made of script/*.lua by `deno task lua`: change those, and run it.

/** The program that a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g,tonumber=ARGV[1],ARGV[4],redis.call,
tonumber;local h,i,j=tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)
~=''local l=table.remove(ARGV)local m=e=='record'and tonumber(ARGV[9])or 1;local n=math.floor(ARGV[3
]~=''and ARGV[3]or ARGV[2])local o={f}local function p(q,r)return{q and 1 or 0,r and 1 or 0,n,'='..
table.concat(o,' '),'='..a}end;local function s(t)return type(t)=='number'and string.format('%.0f',t
)or t or''end;local function u(v,t)local w=tonumber(t)if w and w%1==0 and w<9007199254740992 and w>-
9007199254740992 then return w end;if t and t~=''then error('the field "'..v..
'" of the circuit is invalid',0)end end;local function x(y,z)for A=1,#z,1000 do g('HDEL',y,unpack(z,
A,math.min(A+999,#z)))end end;local function B(y)local C,D={},g('HGETALL',y)for A=1,#D,2 do C[D[A]]=
D[A+1]end;return C,#D>0 end;local E,F,G=KEYS[#KEYS-1],KEYS[#KEYS],#KEYS~=4;local H=string.char(255)
local I={}local function J(z,K,y)local L=redis.pcall(K and'ZADD'or'ZREM',z,unpack(K and{0,y}or{y}))I
[z]=type(L)=='number'end;local function M(y,N,O)y=y:sub(#E-7,-7)if y==''or y>=H then return end;J(E,
N,y)J(F,N and not O,y)end;local function P(Q)for z in pairs(I)do local R=I[z]and g('PTTL',z)or-2;if
R~=-2 and R<Q then g('PEXPIRE',z,s(Q))end end end;if e=='page'then local z,S=KEYS[tonumber(ARGV[9])]
,H..ARGV[12]if ARGV[12]~=''and g('ZREM',E,S)+g('ZREM',F,S)==2 then for T,C in ipairs(KEYS)do g(
'ZREMRANGEBYLEX',C,'['..H,'+')J(C,true,'')end end;if not g('ZSCORE',z,'')then for T,U in ipairs(KEYS
)do J(U,true,H..f)end;P(j)return p(false)end;local V=p(true)for T,y in ipairs(g('ZRANGEBYLEX',z,'('
..ARGV[10],'('..H,'LIMIT',0,ARGV[11]))do V[#V+1]='='..y end;return V end;if e=='index'then for A=1,#
KEYS-2 do local W=redis.pcall('HMGET',KEYS[A],'epoch','prefix','state','override','override.until')
local N=not W.err and(W[1]or'')~=''and(W[2]or ARGV[8])==ARGV[8]local X=tonumber(W[5])M(KEYS[A],N,W[3
]=='CLOSED'and((W[4]or'')==''or X and X<=n))end;P(j)return p(true)end;if e=='remove'then M(a)return
p(g('DEL',a,b,c,d)>0)end;if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return p(true)end;if ARGV[3]
==''then local Y,Z=pcall(g,'TIME')if Y then n=Z[1]*1000+math.floor(Z[2]/1000)end end;local _,a0,a1,
a2=B(a),{},{},false;local function a3(v,t)_[v]=s(t)a0[v],a2=_[v],true end;local function a4(v)_[v],
a0[v],a2=nil,nil,true;a1[#a1+1]=v end;local function a5(v)return u(v,_[v])end;local function a6()
return(_.override or'')~=''end;local function a7(v)return v:sub(1,6)=='lease:'end;if _.epoch==''then
_.epoch=nil end;local a8=not _.epoch;if _.prefix and _.prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;for T,v in ipairs(a8 and{}or{
'generation','since','began'})do u(v,_[v]or'?')end;if e=='record'and not G then local a9=a5(
'indexed')if a8 or not a9 or a9>n or n-a9>=math.min(j,864e5)/8 then return p(false,true)end end;
local aa,ab,ac,ad,ae={'epoch','policyHash','cursor','outcomes','since','trial','ids','swept',
'halfOpen.successes','halfOpen.failures','totals.successes','totals.failures','totals.rejected',
'totals.slow','lastFailureAt','lastSuccessAt','traffic','traffic.before','sinceClosed.successes',
'sinceClosed.failures','sinceClosed.slow','consecutiveSuccesses','consecutiveFailures','start',
'newest.successes','newest.failures','newest.slow','floor','after','from','older.successes',
'older.failures','older.slow'},9,19,28,33;for A=1,m do o[A]=A==1 and f or ARGV[12*A-3]aa[ae+A]='id:'
..o[A]end;local af,ag,ah,ai,aj={},{},{},{},false;local W=g('HMGET',b,unpack(aa))if not a8 and W[1]==
_.epoch then for A=1,ae do local t=W[A]or nil;if t and A>4 then t=u(aa[A],t)end;ag[A],af[aa[A]]=t,t
end;for A,ak in ipairs(o)do local Y=u('id',W[ae+A])if Y and n-math.floor(Y/2)<60000 then ah[ak]=Y%2
==1 end end else W,aj={},W[1]end;local al=af.policyHash;local function am(an)return af[an]or 0 end;
local function ao(an,w)if w~=0 then af[an]=am(an)+w end end;local function ap(aq,ar,as,at)ao(aq..
'.successes',ar)ao(aq..'.failures',as)ao(aq..'.slow',at)end;local function au(aq)return am(aq..
'.successes'),am(aq..'.failures'),am(aq..'.slow')end;local function av(...)for T,an in ipairs({...})
do af[an]=nil end end;local function aw()if af.since~=a5('since')then av('outcomes',unpack(aa,ac,ae)
)af.since=a5('since')end;if af.trial~=a5('generation')then av('halfOpen.successes',
'halfOpen.failures')af.trial=a5('generation')end end;aw()local function ax(ay)ah[f],a2=ay,true;ai[#
ai+1],ai[#ai+2]='id:'..f,s(n*2+(ay and 1 or 0))end;local az={'consecutiveFailures',
'consecutiveSuccesses','sinceClosed.failures','sinceClosed.successes','sinceClosed.slow',
'totals.failures','totals.successes','totals.rejected','totals.slow','halfOpen.successes',
'halfOpen.failures'}local function aA(aB,aC,aD,aE,aF,X,aG,aH)if l==''then return end;local aI,aJ={},
{}for v,t in pairs(_)do local am,aK=v:match('^row:(%d+) %-?%d+ (.*)$')if am then local a9=tonumber(t
:match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local aL,aM={a9,tonumber(am),aK,v},aJ[aK]aI[#aI+1]=aL;if not
aM or a9<aM[1]or a9==aM[1]and aL[2]<aM[2]then aJ[aK]=aL end end end;if#aI>=64 then for T,aL in
ipairs(aI)do local aM=aJ[aL[3]]aL[5]=('%020.0f%020.0f%s %020.0f'):format(aM[1],aM[2],aL[3],aL[2])end
;table.sort(aI,function(aN,aO)return aN[5]<aO[5]end)local aP,aQ=aI[1][4],aI[2][4]local aR,aS=_[aQ]:
match('^(%d+)(.*)$')a3(aQ,s((aR or 0)+1+(_[aP]:match('^%d+')or 0))..(aS or''))a4(aP)end;local aL={0,
aB,_.state,aC or _.state,s(n),aF or'-',s(X or'-')}for T,an in ipairs(az)do aL[#aL+1]=s(am(an))end;aL
[#aL+1]=aE or l;aG=s(aG or a5('generation')+1)aD=s(aD or n)a3('row:'..aG..' '..aD..' '..(aH or _.
epoch),table.concat(aL,' '))end;local function aT(aG,aD,aU)a3('generation',aG)a3('began',aD)if aU
then a3('since',aG)end;for v in pairs(_)do if a7(v)then a4(v)end end;aw()end;local function aV(aD,aU
)aT(a5('generation')+1,aD,aU)end;local function aW(aH,aG,aD)return aH==_.epoch and tonumber(aG)==a5(
'generation')and tonumber(aD)==a5('began')end;local aX=false;local aY=f..'.'..s(n)local function aZ(
aG)for v in pairs(_)do if v:sub(1,4)~='row:'and v~='expires'then a4(v)end end;af,aX={},true;a3(
'epoch',aY)a3('state','CLOSED')a3('prefix',ARGV[8])aT(aG,n,true)end;local function a_(b0)if not ARGV
[b0]then return end;for v in pairs(_)do if v:sub(1,7)=='policy.'then a4(v)end end;for A=b0,#ARGV,2
do a3(ARGV[A],ARGV[A+1])end end;local function b1(aD,aF,X,b2,b3)a3('override',aF)a3('override.until'
,X)a3('override.reason',b2)a3('override.actor',b3)aX=true;aV(aD,true)end;local b4={}local function
b5()local X=a5('override.until')if a6()and X and X<=n then local b6=
'{"reason":"expired","actor":null,'..(l:match('"isolate":.*')or'}')aA('released',nil,X,b6,_.override
)for v,t in pairs(_)do if v:sub(1,8)=='override'then b4['released'..v:sub(9)]=t end end;b1(X)end end
;local function b7()return _.epoch..':'.._.since end;local b8={}local function b9(y,aQ,ba,w,at,bb)
local C,bc=B(y)if C.of~=b7()then if ba and bc then g('DEL',y)end;C={}b8[y]=ba end;local bd,be,b0,bf=
{},{0,0},nil,{}local function bg(v,bh)if bh==0 then return end;C[v]=s((u(v,C[v])or 0)+bh)bd[#bd+1],
bd[#bd+2]=v,C[v]end;local bi=ba and{[s(ba)]=w,['s'..s(ba)]=at}or{}for v,bh in pairs(bi)do if bb and
C[v]then C[v],bf[#bf+1]=nil,v end;bg(v,bh)end;for v,bj in pairs(C)do local S,aD=v:match(
'^(s?)(%-?%d+)$')aD=tonumber(aD)if aD and(aD>aQ or aD==ba)then local A=#S+1;be[A]=be[A]+u(v,bj)b0=
math.min(b0 or aD,aD)elseif aD then bf[#bf+1]=v end end;if ba and#bf>(bb and 0 or 20)then x(y,bf)end
;if#bd>0 then g('HSET',y,'of',b7(),unpack(bd))end;return be[1],be[2],b0 end;local function bk(aQ,ba,
ar,as,at)local bl,bm,bn=au('older')local bb=ba and ba<=aQ;local bo,T,b0,bp=bb or af.after and af.
after>aQ,nil,nil,nil;if bo or bl+ar>0 then bl,T,b0=b9(d,aQ,ba,ar,0,bb)end;if bo or bm+bn+as+at>0
then bm,bn,bp=b9(c,aQ,ba,as,at,bb)end;if bb then aQ=ba-1;af.floor=aQ end;af['older.successes'],af[
'older.failures'],af['older.slow']=bl,bm,bn;af.after,af.from=aQ,b0 and bp and math.min(b0,bp)or b0
or bp end;local function bq(ar,as,at,br)local bs,bt,ba=math.ceil(h/10),n,af.start;if not ba or br>0
or n>=ba+bs then bt=math.max(n,ba or n)ba=math.floor((bt-br)/bs)*bs;if ba<=bt-h then return end end;
if ba~=af.start then local bu=math.max(af.floor or bt-h,bt-h)af.floor=bu;if af.start and ba<af.start
then return bk(bu,ba,ar,as,at)end;if af.start and af.start>bu then bk(bu,af.start,au('newest'))else
av('after','from','older.successes','older.failures','older.slow')end;av('newest.successes',
'newest.failures','newest.slow')af.start=ba end;ap('newest',ar,as,at)end;local function bv()local ba
=af.start;local aQ=math.max(n,ba or n)-h;aQ=math.max(aQ,af.floor or aQ)if not ba or ba<=aQ then
return 0,0,0 end;if(af.after or aQ)>aQ or(af.from or n)<=aQ then bk(aQ,nil,0,0,0)end;local bl,bm,at=
au('newest')return bl+am('older.successes'),bm+am('older.failures'),at+am('older.slow')end;local
function bw(an,bx)local ag=af[an]if not(ag and ag>bx and ag<=n)then af[an]=bx end end;local function
bj(ar,as,at,br,aM)ap('sinceClosed',ar,as,at)if ar>0 then ao('consecutiveSuccesses',ar)av(
'consecutiveFailures')bw('lastSuccessAt',n-aM)end;if as>0 then local by=math.max(0,n-(af.
lastSuccessAt or-1e15))if br<=by then ao('consecutiveFailures',aM>by and 1 or as)av(
'consecutiveSuccesses')end;bw('lastFailureAt',n-br)end;if _.state=='HALF_OPEN'then ap('halfOpen',ar,
as,0)end;bq(ar,as,at,br)if i>0 then local bx=('S'):rep(math.min(ar,i))..('F'):rep(as)af.outcomes=((
af.outcomes or'')..bx):sub(-i)end end;local bz=100;local function bA(v)local X,bs=(_[v]or''):match(
'^(%S+) (%S+)$')return u(v,X or _[v]),u(v,bs)end;local function bB(bC,bD,bE)local bF=0;for v in
pairs(_)do if a7(v)then local X,bs=bA(v)if X<=n or bs>0 and X-n>2*bs then a4(v)elseif bs>0 then bF=
bF+1 end end end;local v='lease:'..bC;local X,bs=bA(v)if X then return bs>0 end;if bF>=bD then
return false end;a3(v,s(n+bE)..' '..s(bE))return true end;local function bG(bC)local X,bs=bA(
'lease:'..bC)if not X or bs==0 then return end;a3('lease:'..bC,s(X)..' 0')local bj,aM,bH=0,nil,nil;
for v in pairs(_)do if a7(v)then X,bs=bA(v)if bs==0 then bj=bj+1;if not aM or X<bH then aM,bH=v,X
end end end end;if bj>bz then a4(aM)end end;local q,r=true,false;local function bI(bJ,bK)q=_.epoch
or bJ;if not q then return end;if not _.epoch then aZ(1)end;if ah[f]==nil then b5()ax(bK())end;q=ah[
f]end;local bL={}local function bM()local bl,bm,at=bv()local z={q and 1 or 0,bl,bm,at,af.outcomes or
''}for A=ab,ad do local t=af[aa[A]]z[#z+1]=t==ag[A]and W[A]or s(t)end;bL[#bL+1]=table.concat(z,' ')
end;if e=='record'then for A=1,m do local aN=12*A-3;local aH,aG=ARGV[aN+1],tonumber(ARGV[aN+2])local
ar,as,at=tonumber(ARGV[aN+4]),tonumber(ARGV[aN+5]),tonumber(ARGV[aN+7])f=o[A]bI(true,function()local
bN=aW(aH,aG,ARGV[aN+3])if aH==''then bN=aG==0 and a5('generation')==1 end;ap('totals',ar,as,at)ao(
'totals.rejected',tonumber(ARGV[aN+6]))if ARGV[aN+11]~=''then af.policyHash=ARGV[aN+11]end;if bN and
m==1 then a_(21)end;if bN and ar+as>0 then local br=math.max(0,math.floor(ARGV[aN+8]))bj(ar,as,at,br
,math.max(br,math.floor(ARGV[aN+9])))end;bG(ARGV[aN+10])local bO=math.floor(n/1000)local bP=bO-math.
floor(am('traffic')/1e6)if bP~=0 then af['traffic.before'],af.traffic=bP==1 and am('traffic')%1e6 or
nil,bO*1e6 end;ao('traffic',1)return bN end)bM()end elseif e=='acquire'and _.epoch then b5()r=ah[f]
or false;if a6()then q=_.override~='forced_open'elseif _.state~='CLOSED'then local R,bs=(a5(
'openUntil')or n)-n,a5('cooldownMs')local bQ=bs and R>bs+math.max(bs,60000)if not r and _.state==
'OPEN'and(R<=0 or bQ)then aA('half_opened','HALF_OPEN')a3('state','HALF_OPEN')a3('reason',
'cooldown_passed')aV(n)r=true;ax(true)end;q=_.state=='HALF_OPEN'and bB(ARGV[9],tonumber(ARGV[10]),
tonumber(ARGV[11]))end elseif e=='transition'then local aC,bR=ARGV[9],ARGV[14]~=''bI(not bR,function(
)if bR and not aW(ARGV[13],ARGV[14],ARGV[15])then return false end;if ARGV[10]=='closed'and am(
'halfOpen.failures')>=tonumber(ARGV[17])then return false end;aA(ARGV[10],aC)if aC=='OPEN'then a3(
'reopenCount',_.state=='HALF_OPEN'and(a5('reopenCount')or 0)+1 or 0)a3('openedAt',n)a3('openUntil',n
+ARGV[11])a3('cooldownMs',ARGV[11])a3('lastFailure',ARGV[16])else if _.state~='CLOSED'then a3(
'closedAt',n)end;a3('reopenCount',0)a3('openUntil')a3('cooldownMs')end;a_(18)a3('state',aC)a3(
'reason',ARGV[12])aV(n,aC=='CLOSED')return true end)elseif e=='override'then local aF,X=ARGV[9],
tonumber(ARGV[10])bI(aF~='',function()if aF==''and not a6()then return false end;X=X and math.floor(
X-ARGV[2]+n)aA(aF==''and'released'or aF,nil,nil,nil,aF==''and _.override or aF,X)b1(n,aF,X,ARGV[11],
ARGV[12])return true end)elseif e=='restore'then local ag=_.epoch;bI(true,function()if ag and ARGV[9
]=='keep'then return false end;local aG=math.max(a5('generation'),ARGV[10])+1;aA('imported',ARGV[13]
:sub(2),nil,nil,nil,nil,aG,aY)aZ(aG)local function bS(t)local S=t:sub(1,1)if S=='='then return t:sub(
2)end;return S=='@'and s(t:sub(2)-ARGV[2]+n)or t end;local aM,bT=12+2*ARGV[11],{}for T,an in ipairs(
aa)do bT[an]=true end;for A=12,aM-1,2 do local v,t=ARGV[A],bS(ARGV[A+1])if bT[v]then af[v]=v~=
'policyHash'and tonumber(t)or t else a3(v,t)end end;for A=aM,#ARGV,4 do if af.start then bk(-1e15,af
.start,au('newest'))end;af.start,af['newest.successes']=tonumber(bS(ARGV[A])),tonumber(ARGV[A+1])af[
'newest.failures'],af['newest.slow']=tonumber(ARGV[A+2]),tonumber(ARGV[A+3])end;al=af.policyHash;
return true end)end;if _.epoch and not bL[1]then bM()end;if a2 then af.epoch=_.epoch;if not a5(
'openedAt')and not a6()then j=math.min(j,864e5)end;local bU=math.max(n,a5('openUntil')or 0,a5(
'override.until')or 0)+j;local bV=bU>(a5('expires')or 0)if bV then a3('expires',bU+math.floor(j/8))
end;if G then a3('indexed',n)end;x(a,a1)local bd,bf={},{}for v,t in pairs(a0)do bd[#bd+1],bd[#bd+2]=
v,t end;if#bd>0 then g('HSET',a,unpack(bd))end;if ai[1]then local bj=am('ids')af.ids=bj+#ai/2;local
bW=(af.cursor or'0')~='0'if math.floor(af.ids/16)~=math.floor(bj/16)and(bW or math.abs(n-am('swept')
)>=120000)then if not bW then af.swept=n end;local bX=(af.cursor or''):match('^%d+$')or 0;local V=g(
'HSCAN',b,bX,'COUNT',56+4*#ai)af.cursor=V[1]for A=1,#V[2],2 do local v,bY=V[2][A],tonumber(V[2][A+1]
)or 0;if n-math.floor(bY/2)>=60000 and v:sub(1,3)=='id:'then bf[#bf+1]=v end end end end;for A=1,ae
do local an=aa[A]if af[an]~=ag[A]then ai[#ai+1],ai[#ai+2]=an,s(af[an])end end;b8[a],b8[b]=aX,not W[1
]if aj then g('DEL',b)end;x(b,bf)if ai[1]then g('HSET',b,unpack(ai))end;if G then M(a,true,_.state==
'CLOSED'and not a6())P(a5('expires')-n)end;for T,y in ipairs({a,b,c,d})do if y==a and a6()and not a5(
'override.until')then if aX then g('PERSIST',a)end elseif b8[y]or bV and not a8 then g('PEXPIRE',y,s(
a5('expires')-n))end end end;local ay=p(q,r)local function bZ(C,ag,aI)for v,t in pairs(C)do local S=
v:sub(1,4)if S=='row:'==(aI or false)and not(S=='leas'and t:sub(-2)==' 0')then ay[#ay+1],ay[#ay+2]=(
ag or'')..v,'='..s(t)end end end;if _.epoch then ay[#ay+1]='='..table.concat(bL,';')bZ(_)bZ({
policyHash=al or''},'answer.')if e=='dump'then bZ(B(c),'failures:')bZ(B(d),'successes:')end;bZ(b4)if
k then bZ(_,'',true)end end;return ay`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "f7671e13ae51635cfdbb59c8b8b6aa937c4b334b";

/** The line by which Upstash locks only the keys that a script declares. Redis 7 refuses it. */
export const LOCKING = "#!lua flags=allow-key-locking\n";

/** The SHA-1 of the script behind that line. */
export const LOCKING_SHA1: string = "b54fe8e9d39d6939d1b332a7a02b8e8eb07f31ea";
